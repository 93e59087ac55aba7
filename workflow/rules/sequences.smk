# One job per sequence: each edit needs the previous ones, so only whole sequences run in parallel.


rule sequence:
    input:
        lambda wildcards: study.sequences_inputs(**wildcards),
        job="results/jobs/sequences/model={model}/editor={editor}/dataset={dataset}/seed-{order}.json",
    output:
        rows=ensure(
            "results/sequences/model={model}/editor={editor}/dataset={dataset}/seed-{order}.parquet",
            non_empty=True,
        ),
        deltas="results/sequences/model={model}/editor={editor}/dataset={dataset}/seed-{order}.safetensors",
    log:
        "results/logs/sequences/model={model}/editor={editor}/dataset={dataset}/seed-{order}.log",
        usage="results/benchmarks/sequences/model={model}/editor={editor}/dataset={dataset}/seed-{order}.json",
    conda:
        "../envs/editcore.yaml"
    threads: 1
    resources:
        gpu=lambda wildcards: study.gpus(wildcards.model),
    message:
        "Apply the {wildcards.dataset} edits to {wildcards.model} one after another with {wildcards.editor}"
    shell:
        "OMP_NUM_THREADS={threads} editcore sequence --job {input.job:q}"
        " --out {output.rows:q} --deltas {output.deltas:q} --usage {log.usage:q} 2> {log[0]:q}"


rule summarise_sequences:
    input:
        study.sequence_files,
        study="results/jobs/study.json",
    output:
        "results/summary/sequences.parquet",
    log:
        "results/logs/summarise-sequences.log",
    conda:
        "../envs/editcore.yaml"
    params:
        folder=subpath(output[0], parent=True),
    message:
        "Summarise the sequences"
    shell:
        "editcore summarise --what sequences --study {input.study:q}"
        " --out {params.folder:q} 2> {log:q}"
