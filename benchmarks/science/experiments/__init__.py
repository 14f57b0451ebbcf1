"""One file for each question; ``EXPERIMENTS`` is what ``run.py`` offers by name, in this order."""

from .base_model import base
from .failures import failures
from .forgetting import fig5
from .masks import fig3, fig7
from .practice import practice
from .regions import regions
from .removal import removal
from .scale import scale
from .sweeps import sweeps
from .table1 import table1
from .tables import recipe, table2, twenty

_PAPERS = (fig3, fig7, table1, table2, fig5)
_OURS = (sweeps, practice, failures, regions, recipe, twenty, scale, removal)
EXPERIMENTS = {function.__name__: function for function in (base, *_PAPERS, *_OURS)}
