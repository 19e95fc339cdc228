"""Everything that llmfs claims, measured beside what else there is: python -m bench.matrix

A matrix of workloads (what runs), systems (through what), states (what the system had kept) and sources (how slow the
directory is), and a report of it. Each file is one noun:

    sources     slow directories: latency and bandwidth
    systems     raw, native, rivals, llmfs with each predictor, and which states they have
    trees       the files that workloads read
    workloads   real programs, fio jobs, and the check that they got the right bytes
    readers     the programs of ours among them, in processes of their own
    running     what runs when; kernel caches are dropped before each run
    samples     what was measured
    summary     medians, spread, ratios
    bars        what llmfs must reach, met or missed
    rendering   the report
"""
