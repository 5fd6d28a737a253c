"""Workers: one per device. Contracts in `worker_base` and `model_runner_base`; the device-neutral torch implementation beside them."""
