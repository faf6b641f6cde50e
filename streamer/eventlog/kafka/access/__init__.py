"""Access to a cluster: the steps of a login, its tokens, and the rights that a client needs."""
