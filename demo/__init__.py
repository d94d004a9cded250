"""golb to look at: a real etcd, functions, two load balancers, and the commands to play with them."""
