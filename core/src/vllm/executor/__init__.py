"""Executors: run one worker or many, behind one contract."""
