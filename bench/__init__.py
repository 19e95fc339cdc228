"""Slow directories, workloads, rivals and reports: what llmfs is measured with."""
