"""What the paper compares CNS with (Table 1), on the same loop, data and judges.

The papers train more than K and V; here every method trains these alone, and a token, so that only how they do it differs.
"""

from .continual_diffusion import CONTINUAL_DIFFUSION
from .custom_diffusion import CUSTOM_DIFFUSION, CUSTOM_DIFFUSION_MERGED
from .mix_of_show import MIX_OF_SHOW
from .orthogonal_adaptation import ORTHOGONAL_ADAPTATION
from .textual_inversion import TEXTUAL_INVERSION

METHODS = {
    "textual_inversion": TEXTUAL_INVERSION,
    "custom_diffusion": CUSTOM_DIFFUSION,
    "custom_diffusion_merged": CUSTOM_DIFFUSION_MERGED,
    "mix_of_show": MIX_OF_SHOW,
    "orthogonal_adaptation": ORTHOGONAL_ADAPTATION,
    "continual_diffusion": CONTINUAL_DIFFUSION,
}
