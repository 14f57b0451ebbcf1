"""The names by which server and page know each other's messages; ``web/events.js`` has the same."""

LIVE_EVENT = "cns.live"  # what a node shows has changed
LIVE_ROUTE = "/cns/live"  # GET: everything that nodes show
STATE_ROUTE = "/cns/state"  # GET ?name=: what is in a state file
