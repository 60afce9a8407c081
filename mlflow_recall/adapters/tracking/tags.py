"""Names of the tags that this package writes into MLflow."""

from __future__ import annotations

PREFIX = "recall."

# of every run
KIND = "recall.kind"  # benchmark | selection | candidate | final | cluster | recall | ...
TOKEN = "recall.token"  # noqa: S105 - random text that its creator finds it by, if the answer got lost
OWNER = "recall.owner"  # host, machine, process and its start time, of who writes a RUNNING run
HEARTBEAT = "recall.heartbeat"  # a counter
TAKEN_OVER = "recall.taken_over"  # why its owner counts as dead; what it still writes is dropped
STAGE = "recall.stage"  # last finished stage
REASON = "recall.reason"
RIVAL = "recall.rival"
STATUS = "recall.status"  # winner | finalist | stopped | failed

# of the experiment with the history
DEFAULTS = "recall.defaults"  # .<modality>.<metric>: what a back-test preferred, as JSON

# of a recommendation, a recall or a selection
RECOMMENDER = "recall.recommender"  # name of the one that ranks
SET_SELECTOR = "recall.set_selector"  # name of the one that selects the set to train
RECALLED = "recall.recalled"  # the models to train, comma separated
SCORE = "recall.score"  # the scores that were used, comma separated
LEFT_OUT = "recall.left_out"  # .<score or model>: why it was left out
WINNER = "recall.winner"
REGISTERED = "recall.registered"  # name/version of the winner in the registry
POLICY = "recall.policy"
HAS_PREDICTIONS = "recall.has_predictions"  # whether the policy predicted final scores

# of a back-test
APPLIES = "recall.applies"  # whether the history transfers to new datasets

# of a benchmark run
CELL = "recall.cell"
CONFIRMED = "recall.confirmed"  # true: its owner trains the cell; until then it only claims it
WITHDRAWN = "recall.withdrawn"  # true: its owner left the cell to another one
MODEL = "recall.model"
MODEL_VERSION = "recall.model_version"
DATASET = "recall.dataset"
DIGEST = "recall.dataset_digest"
TASK = "recall.task"  # task of the dataset; absent: classification
METRIC = "recall.metric"  # primary metric of the dataset; absent: that of the task
CLASSES = "recall.dataset_classes"  # names of the classes, as JSON; absent if it is too long
SPEC = "recall.dataset_spec"  # how the dataset can be prepared again on this machine, as JSON
MODALITY = "recall.modality"
RECIPE = "recall.recipe"
EPOCHS = "recall.epochs"
CURVE = "recall.curve"

# of an adopted run, with those of model, dataset, modality and curve
ADOPTED = "recall.adopted"  # namespace whose history the run is part of
SOURCES = "recall.adopted_metrics"  # metric -> where the run keeps it, as JSON
ORIGIN = "recall.adopted_experiment"  # name of its experiment in the exported store

# of a run that was imported
IMPORTED = "recall.imported"  # id of the run in the exported store
TABLE_ROWS = "recall.table"  # its name among repeats, and metric -> digest of its rows, as JSON
STEPS = "recall.steps"  # the steps of its curves, as JSON; absent if they are 1, 2, ...

# of the experiment NAMESPACE/benchmark
ADOPTED_FROM = "recall.adopted_from"  # ids of experiments, and time of the last change, as JSON

# of a registered model or its version
ARCH = "recall.arch"
FAMILY = "recall.family"
UPSTREAM = "recall.upstream"  # dataset that the model was pre-trained on
LICENSE = "recall.license"
CONFIG = "recall.config"
SOURCE = "recall.source"
PARAMETERS = "recall.parameters"  # of the backbone
GMACS = "recall.gmacs"  # 10⁹ multiply-adds of a forward pass over one sample
INPUT_SIZE = "recall.input_size"  # size of that sample: tokens, or pixels of a side
SOURCE_HEAD = "recall.source_head"  # whether its head was trained on real source classes
WEIGHTS = "recall.weights"  # absent: its history counts, but it cannot be trained here
REBUILD = "recall.rebuild"  # the command that rebuilds absent weights
WEIGHTS_DIGEST = "recall.weights_digest"
NAMESPACE = "recall.namespace"
CLUSTER = "recall.cluster"
ESTIMATED = "recall.estimated"  # true: it has no history, and its cluster is estimated
ESTIMATED_FROM = "recall.estimated_from"  # features, or features and scores on N datasets
NEAREST_MODEL = "recall.nearest_model"  # the measured model that an estimated one resembles most
ESTIMATED_Z_SCORE = "recall.estimated_z_score"  # estimated mean z-score
REPRESENTATIVE = "recall.representative"
CLUSTERED_BY = "recall.clustered_by"
CLUSTER_METRIC = "recall.cluster_metric"
BUDGET_STOP = "recall.budget_stop"  # why a winner was not trained to the last stage
SELECTION = "recall.selection"  # run of the selection that a version won

#: maximum length of a run tag that a tracking server does not truncate
MAX_LENGTH = 8000
