"""golb: a weighted load balancer for functions on Kubernetes edge clusters, on Trio."""

__version__ = "0.1.0"
