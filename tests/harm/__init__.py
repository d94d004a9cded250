"""`make harm`: endpoints that fail, floods, and clients that mean harm, and whether golb keeps what it promises through each."""
