"""Where weights come from, and how they reach whoever subscribed."""

from golb.updaters.ack import Acknowledgement, InForce
from golb.updaters.base import Publish, WeightUpdater
from golb.updaters.broadcaster import Batch, Broadcaster
from golb.updaters.etcd import EtcdWeightUpdater
from golb.updaters.file import FileWeightUpdater
from golb.updaters.knowledge import Knowledge
from golb.updaters.refusals import Refusal, Refusals
from golb.updaters.saved import SavedTable

__all__ = [
    "Acknowledgement",
    "Batch",
    "Broadcaster",
    "EtcdWeightUpdater",
    "FileWeightUpdater",
    "InForce",
    "Knowledge",
    "Publish",
    "Refusal",
    "Refusals",
    "SavedTable",
    "WeightUpdater",
]
