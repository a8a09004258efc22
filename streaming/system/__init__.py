"""What a process needs of its host: locks, signals, disk, files, child processes."""
