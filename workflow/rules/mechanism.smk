# Why edits collapse a model: all experiments of a model in one job, then a table of all models.


rule mechanism:
    input:
        lambda wildcards: study.mechanism_inputs(**wildcards),
        job="results/jobs/mechanism/model={model}.json",
    output:
        directory("results/mechanism/model={model}"),
    log:
        "results/logs/mechanism/model={model}.log",
    benchmark:
        "results/benchmarks/mechanism/model={model}.jsonl"
    priority: 1
    conda:
        "../envs/editcore.yaml"
    threads: 1
    resources:
        gpu=lambda wildcards: study.gpus(wildcards.model),
    message:
        "Measure why edits collapse {wildcards.model}"
    shell:
        "OMP_NUM_THREADS={threads} editcore mechanism --job {input.job:q} --out {output:q} 2> {log:q}"


if study.mechanism:

    rule mechanism_tables:
        input:
            folders=study.mechanism_folders,
            cases="results/summary/cases.parquet",
        output:
            study.mechanism_tables,
        log:
            "results/logs/mechanism_tables.log",
        conda:
            "../envs/editcore.yaml"
        params:
            folder=subpath(output[0], parent=True),
        message:
            "Join the tables on why edits collapse models"
        shell:
            "editcore mechanism-tables {input.folders:q} --cases {input.cases:q}"
            " --out {params.folder:q} 2> {log:q}"
