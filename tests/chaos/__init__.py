"""`make chaos`: faults of etcd, by a seed, under load, and whether golb keeps what it promises through each."""
