# Bare and mean keys of subjects at every layer: where on the depth the first position differs.


rule layers:
    input:
        lambda wildcards: study.layers_inputs(**wildcards),
        job="results/jobs/layers/model={model}.json",
    output:
        ensure("results/layers/model={model}.parquet", non_empty=True),
    log:
        "results/logs/layers/model={model}.log",
    benchmark:
        "results/benchmarks/layers/model={model}.jsonl"
    conda:
        "../envs/editcore.yaml"
    threads: 1
    resources:
        gpu=lambda wildcards: study.gpus(wildcards.model),
    message:
        "Compare keys at every layer of {wildcards.model}"
    shell:
        "OMP_NUM_THREADS={threads} editcore layers --job {input.job:q} --out {output:q} 2> {log:q}"


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
