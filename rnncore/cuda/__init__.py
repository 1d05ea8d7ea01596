"""The GPU: kernels written from the same plans as the CPU's, and a simulator that runs them where there is none."""
