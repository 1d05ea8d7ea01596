"""What the kernels for GPUs cost by their own code, where no GPU is at hand: instructions, addresses, waits."""
