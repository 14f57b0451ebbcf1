"""The pack's nodes, in the order a user meets them."""

from .apply.apply_state import ApplyState
from .caption.caption_concept_images import CaptionConceptImages
from .caption.load_concept_images import LoadConceptImages
from .files.load_state import LoadState
from .files.save_state import SaveState
from .neurons.compute_base_neurons import ComputeBaseNeurons
from .neurons.compute_general_neurons import ComputeGeneralNeurons
from .neurons.select_concept_neurons import SelectConceptNeurons
from .train.train_step import TrainStep

NODES = [
    LoadConceptImages,
    CaptionConceptImages,
    ComputeBaseNeurons,
    ComputeGeneralNeurons,
    SelectConceptNeurons,
    TrainStep,
    SaveState,
    LoadState,
    ApplyState,
]
