"""The pack's nodes, in the order a user meets them, and what they need of ComfyUI."""

from ..cns_core.comfy_adapter import folders
from ..cns_core.comfy_adapter.page import routes
from .apply.apply_state import ApplyState
from .caption.caption_concept_images import CaptionConceptImages
from .caption.load_concept_images import LoadConceptImages
from .edit.remove_concept import RemoveConcept
from .files.demo_concept import DemoConcept
from .files.export_state import ExportState
from .files.load_demo_model import LoadDemoModel
from .files.load_state import LoadState
from .files.save_state import SaveState
from .inspect.evaluate_images import EvaluateImages
from .inspect.inspect_prompts import InspectPrompts
from .inspect.inspect_state import InspectState
from .neurons.compute_base_neurons import ComputeBaseNeurons
from .neurons.compute_general_neurons import ComputeGeneralNeurons
from .neurons.select_concept_neurons import SelectConceptNeurons
from .priors.make_prior_images import MakePriorImages
from .regions.apply_regions import ApplyRegions
from .regions.region import Region
from .train.teach_folder import TeachFolder
from .train.train_step import TrainStep

NODES = [
    LoadDemoModel,
    DemoConcept,
    LoadConceptImages,
    CaptionConceptImages,
    ComputeBaseNeurons,
    ComputeGeneralNeurons,
    SelectConceptNeurons,
    MakePriorImages,
    TrainStep,
    TeachFolder,
    SaveState,
    LoadState,
    ApplyState,
    Region,
    ApplyRegions,
    RemoveConcept,
    ExportState,
    InspectState,
    InspectPrompts,
    EvaluateImages,
]


def register() -> None:
    """Folders and routes; before the schemas, which list files."""
    folders.register()
    routes.register()
