# The v* of a shard, found once for all editors with the same search options.
rule values:
    input:
        lambda wildcards: study.values_inputs(**wildcards),
        job="results/jobs/values/model={model}/values-{digest}/dataset={dataset}/shard-{shard}.json",
    output:
        "results/artefacts/model={model}/values-{digest}/dataset={dataset}/shard-{shard}.safetensors",
    log:
        "results/logs/values/model={model}/values-{digest}/dataset={dataset}/shard-{shard}.log",
        usage="results/benchmarks/values/model={model}/values-{digest}/dataset={dataset}/shard-{shard}.json",
    priority: 1
    conda:
        "../envs/editcore.yaml"
    threads: 1
    resources:
        gpu=lambda wildcards: study.gpus(wildcards.model),
    message:
        "Search for v* of {wildcards.dataset} in {wildcards.model}, shard {wildcards.shard}"
    shell:
        "OMP_NUM_THREADS={threads} editcore values --job {input.job:q} --out {output:q}"
        " --usage {log.usage:q} 2> {log[0]:q}"


# One job per shard: the model is loaded once, and every case starts from its unedited weights.


rule edit:
    input:
        lambda wildcards: study.edits_inputs(**wildcards),
        job="results/jobs/edits/model={model}/editor={editor}/dataset={dataset}/shard-{shard}.json",
    output:
        **study.answers_output,
        rows=ensure(
            "results/edits/model={model}/editor={editor}/dataset={dataset}/shard-{shard}.parquet",
            non_empty=True,
        ),
        deltas="results/deltas/model={model}/editor={editor}/dataset={dataset}/shard-{shard}.safetensors",
    log:
        "results/logs/edits/model={model}/editor={editor}/dataset={dataset}/shard-{shard}.log",
        usage="results/benchmarks/edits/model={model}/editor={editor}/dataset={dataset}/shard-{shard}.json",
    priority: 1
    conda:
        "../envs/editcore.yaml"
    threads: 1
    resources:
        gpu=lambda wildcards: study.gpus(wildcards.model),
    params:
        answers=lambda wildcards, output: (
            f"--answers {output.answers}" if study.answers_output else ""
        ),
    message:
        "Edit {wildcards.model} with {wildcards.editor} on {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "OMP_NUM_THREADS={threads} editcore edit --job {input.job:q}"
        " --out {output.rows:q} --deltas {output.deltas:q} {params.answers} --usage {log.usage:q} 2> {log[0]:q}"
