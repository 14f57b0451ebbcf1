"""Names under which server and page know each other's messages; ``web/events.js`` has the same."""

TRAINING_EVENT = "cns.training"  # a training has gone on
TRAININGS_ROUTE = "/cns/trainings"  # GET: all trainings of this server that are remembered
HELLO_ROUTE = "/cns/hello"  # POST: a page says that it draws the charts itself
STATE_ROUTE = "/cns/state"  # GET ?name=: what is in a state file
STATE_EVENT = "cns.state"  # a node has a state
STATES_ROUTE = "/cns/states"  # GET: the states that nodes had last
