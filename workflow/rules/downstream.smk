# Tasks on edited models: one job per model, after all of its edits.


rule downstream:
    input:
        lambda wildcards: study.downstream_inputs(**wildcards),
        job="results/jobs/downstream/model={model}.json",
    output:
        ensure("results/downstream/model={model}/scores.parquet", non_empty=True),
    log:
        "results/logs/downstream/model={model}.log",
        usage="results/benchmarks/downstream/model={model}.json",
    priority: 1
    conda:
        "../envs/editcore.yaml"
    # One job per model, after its edits: with fewer models than cores, each takes several.
    threads: max(1, (workflow.cores or 1) // max(1, len(study.downstream)))
    resources:
        gpu=lambda wildcards: study.gpus(wildcards.model),
    message:
        "Evaluate {wildcards.model} and selected edited models on tasks"
    shell:
        "OMP_NUM_THREADS={threads} editcore downstream --job {input.job:q}"
        " --out {output:q} --usage {log.usage:q} 2> {log[0]:q}"


rule correlate:
    input:
        study.score_files,
        study.delta_files,
        cases="results/summary/cases.parquet",
        study="results/jobs/study.json",
    output:
        scores="results/summary/downstream.parquet",
        correlation="results/summary/correlation.parquet",
        weights="results/summary/weight_change.parquet",
    log:
        "results/logs/correlate.log",
    conda:
        "../envs/editcore.yaml"
    params:
        folder=subpath(output.scores, parent=True),
    message:
        "Correlate perplexity with task scores"
    shell:
        "editcore correlate --study {input.study:q} --cases {input.cases:q}"
        " --out {params.folder:q} 2> {log:q}"
