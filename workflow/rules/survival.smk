# What is left of edits in treated models: one job per model, after all of its edits.


rule survive:
    input:
        lambda wildcards: study.survival_inputs(**wildcards),
        job="results/jobs/survival/model={model}.json",
    output:
        ensure("results/survival/model={model}.parquet", non_empty=True),
    log:
        "results/logs/survival/model={model}.log",
        usage="results/benchmarks/survival/model={model}.json",
    priority: 1
    conda:
        "../envs/editcore.yaml"
    # One job per model, after its edits: with fewer models than cores, each takes several.
    threads: max(1, (workflow.cores or 1) // max(1, len(study.survival)))
    resources:
        gpu=lambda wildcards: study.gpus(wildcards.model),
    message:
        "Treat edited models of {wildcards.model}, and measure what is left of the edits"
    shell:
        "OMP_NUM_THREADS={threads} editcore survive --job {input.job:q} --out {output:q}"
        " --usage {log.usage:q} 2> {log[0]:q}"


rule summarise_survival:
    input:
        study.survival_files,
        # Which edited models were to be treated follows from these.
        study.edit_files,
        study="results/jobs/study.json",
    output:
        "results/summary/survival.parquet",
    log:
        "results/logs/summarise-survival.log",
    conda:
        "../envs/editcore.yaml"
    params:
        folder=subpath(output[0], parent=True),
    message:
        "Summarise what is left of edits"
    shell:
        "editcore summarise --what survival --study {input.study:q}"
        " --out {params.folder:q} 2> {log:q}"
