"""One file for each question; ``EXPERIMENTS`` is what ``run.py`` offers by name, in this order."""

from .ablation import fig5, table1, table2
from .base_model import base
from .failures import failures
from .masks import fig3, fig7
from .recipe import recipe, twenty
from .regions import regions
from .removal import removal
from .sweeps import sweeps

EXPERIMENTS = {
    function.__name__: function
    for function in (base, fig3, fig7, table1, table2, fig5, sweeps, failures, regions, recipe, twenty, removal)
}
