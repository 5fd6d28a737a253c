"""Communicators: the contract in base_communicator, torch.distributed beside it."""
