# Inputs of edits that depend only on the model: made once and used by every editor.


rule prefixes:
    input:
        lambda wildcards: study.prefixes_inputs(**wildcards),
        job="results/jobs/prefixes/model={model}.json",
    output:
        "results/artefacts/model={model}/prefixes.json",
    log:
        "results/logs/prefixes/model={model}.log",
        usage="results/benchmarks/prefixes/model={model}.json",
    conda:
        "../envs/editcore.yaml"
    threads: 1
    resources:
        gpu=lambda wildcards: study.gpus(wildcards.model),
    message:
        "Generate the context prefixes of {wildcards.model}"
    shell:
        "editcore prefixes --job {input.job:q} --out {output:q}"
        " --usage {log.usage:q} 2> {log[0]:q}"


# A scale for the damage that edits do.
rule rounding:
    input:
        lambda wildcards: study.rounding_inputs(**wildcards),
        job="results/jobs/rounding/model={model}.json",
    output:
        ensure("results/rounding/model={model}.parquet", non_empty=True),
    log:
        "results/logs/rounding/model={model}.log",
        usage="results/benchmarks/rounding/model={model}.json",
    conda:
        "../envs/editcore.yaml"
    threads: 1
    resources:
        gpu=lambda wildcards: study.gpus(wildcards.model),
    message:
        "Measure what rounding the weights of {wildcards.model} does"
    shell:
        "OMP_NUM_THREADS={threads} editcore rounding --job {input.job:q} --out {output:q}"
        " --usage {log.usage:q} 2> {log[0]:q}"


# Only for models whose second moments are estimated from no file of texts.
rule texts:
    input:
        lambda wildcards: study.texts_inputs(**wildcards),
        job="results/jobs/texts/model={model}/{digest}.json",
    output:
        "results/artefacts/model={model}/texts-{digest}.json",
    log:
        "results/logs/texts/model={model}/{digest}.log",
        usage="results/benchmarks/texts/model={model}/{digest}.json",
    priority: 1  # before jobs that would keep one of its processors for long
    conda:
        "../envs/editcore.yaml"
    threads: 2
    resources:
        gpu=lambda wildcards: study.gpus(wildcards.model),
    message:
        "Let {wildcards.model} write the texts for its second moments"
    shell:
        "OMP_NUM_THREADS={threads} editcore texts --job {input.job:q} --out {output:q}"
        " --usage {log.usage:q} 2> {log[0]:q}"


rule moments:
    input:
        lambda wildcards: study.moments_inputs(**wildcards),
        job="results/jobs/moments/model={model}/{digest}.json",
    output:
        directory("results/artefacts/model={model}/moments-{digest}"),
    log:
        "results/logs/moments/model={model}/{digest}.log",
        usage="results/benchmarks/moments/model={model}/{digest}.json",
    conda:
        "../envs/editcore.yaml"
    threads: 1
    resources:
        gpu=lambda wildcards: study.gpus(wildcards.model),
    message:
        "Estimate the second moments of the keys of {wildcards.model}"
    shell:
        "editcore moments --job {input.job:q} --out {output:q}"
        " --usage {log.usage:q} 2> {log[0]:q}"


rule spectrum:
    input:
        lambda wildcards: study.spectra_inputs(**wildcards),
        job="results/jobs/spectra/model={model}/{digest}.json",
    output:
        directory("results/artefacts/model={model}/spectra-{digest}"),
    log:
        "results/logs/spectra/model={model}/{digest}.log",
        usage="results/benchmarks/spectra/model={model}/{digest}.json",
    conda:
        "../envs/editcore.yaml"
    threads: 1
    message:
        "Decompose the second moments of the keys of {wildcards.model}"
    shell:
        "OMP_NUM_THREADS={threads} editcore spectrum --job {input.job:q} --out {output:q}"
        " --usage {log.usage:q} 2> {log[0]:q}"


# Only for editors in a wrapper that reads it.
rule anchor:
    input:
        lambda wildcards: study.anchors_inputs(**wildcards),
        job="results/jobs/anchors/model={model}/{digest}.json",
    output:
        "results/artefacts/model={model}/anchor-{digest}.safetensors",
    log:
        "results/logs/anchors/model={model}/{digest}.log",
        usage="results/benchmarks/anchors/model={model}/{digest}.json",
    conda:
        "../envs/editcore.yaml"
    threads: 1
    resources:
        gpu=lambda wildcards: study.gpus(wildcards.model),
    message:
        "Find the norm of v* in {wildcards.model} before any edit"
    shell:
        "OMP_NUM_THREADS={threads} editcore anchor --job {input.job:q} --out {output:q}"
        " --usage {log.usage:q} 2> {log[0]:q}"


# What an editor learns about a model before its first edit; an interrupted training resumes.
rule train:
    input:
        lambda wildcards: study.training_inputs(**wildcards),
        job="results/jobs/train/model={model}/{digest}.json",
    output:
        "results/artefacts/model={model}/trained-{digest}.safetensors",
    log:
        "results/logs/train/model={model}/{digest}.log",
        usage="results/benchmarks/train/model={model}/{digest}.json",
    priority: 1  # before jobs that would keep one of its processors for long
    conda:
        "../envs/editcore.yaml"
    threads: 2
    resources:
        gpu=lambda wildcards: study.gpus(wildcards.model),
    message:
        "Train an editor for {wildcards.model}"
    shell:
        "OMP_NUM_THREADS={threads} editcore train --job {input.job:q} --out {output:q}"
        " --usage {log.usage:q} 2> {log[0]:q}"
