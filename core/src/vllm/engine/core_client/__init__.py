"""Where the engine core runs, seen from its front: in a process of its own, or in a thread. One contract, two ways, the same messages."""
