"""The crop store and the way to a minibatch."""
