# Why edits collapse a model: keys at every layer, and all experiments of a model in one job, then
# tables of all models.


rule layers:
    input:
        lambda wildcards: study.layers_inputs(**wildcards),
        job="results/jobs/layers/model={model}.json",
    output:
        ensure("results/layers/model={model}.parquet", non_empty=True),
    log:
        "results/logs/layers/model={model}.log",
        usage="results/benchmarks/layers/model={model}.json",
    conda:
        "../envs/editcore.yaml"
    threads: 1
    resources:
        gpu=lambda wildcards: study.gpus(wildcards.model),
    message:
        "Compare keys at every layer of {wildcards.model}"
    shell:
        "OMP_NUM_THREADS={threads} editcore layers --job {input.job:q} --out {output:q}"
        " --usage {log.usage:q} 2> {log[0]:q}"


rule summarise_layers:
    input:
        study.layer_files,
        study="results/jobs/study.json",
    output:
        "results/summary/layers.parquet",
    log:
        "results/logs/summarise-layers.log",
    conda:
        "../envs/editcore.yaml"
    params:
        folder=subpath(output[0], parent=True),
    message:
        "Join the tables of keys by layer"
    shell:
        "editcore summarise --what layers --study {input.study:q}"
        " --out {params.folder:q} 2> {log:q}"


rule mechanism:
    input:
        lambda wildcards: study.mechanism_inputs(**wildcards),
        job="results/jobs/mechanism/model={model}.json",
    output:
        directory("results/mechanism/model={model}"),
    log:
        "results/logs/mechanism/model={model}.log",
        usage="results/benchmarks/mechanism/model={model}.json",
    priority: 1
    conda:
        "../envs/editcore.yaml"
    threads: 1
    resources:
        gpu=lambda wildcards: study.gpus(wildcards.model),
    message:
        "Measure why edits collapse {wildcards.model}"
    shell:
        "OMP_NUM_THREADS={threads} editcore mechanism --job {input.job:q} --out {output:q}"
        " --usage {log.usage:q} 2> {log[0]:q}"


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
