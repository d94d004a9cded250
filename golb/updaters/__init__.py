"""Where weights come from, and how they reach whoever subscribed."""

from golb.updaters.base import Publish, WeightUpdater
from golb.updaters.broadcaster import Batch, Broadcaster
from golb.updaters.etcd import EtcdWeightUpdater
from golb.updaters.file import FileWeightUpdater

__all__ = ["Batch", "Broadcaster", "EtcdWeightUpdater", "FileWeightUpdater", "Publish", "WeightUpdater"]
