"""What is measured: figures of one run, beside a fixed loop of the same run; never a test."""
