# Rebuilds the bundled world: facts, texts, tasks and the three models. No study needs these rules.
# Their outputs are markers: files in resources/ are managed by version control, not by Snakemake.


rule bundled_world:
    input:
        expand("results/world/{model}.done", model=["tiny-gpt2", "tiny-llama", "tiny-t5"]),
    message:
        "The bundled world has been rebuilt"


rule bundled_facts:
    output:
        touch("results/world/facts.done"),
    log:
        "results/logs/world/facts.log",
    conda:
        "../envs/editcore.yaml"
    message:
        "Write the facts, texts and tasks of the bundled world"
    shell:
        "python -m resources.generator world 2> {log:q}"


rule bundled_model:
    input:
        "results/world/facts.done",
    output:
        touch("results/world/{bundled}.done"),
    log:
        "results/logs/world/{bundled}.log",
    wildcard_constraints:
        bundled="tiny-.+",
    conda:
        "../envs/editcore.yaml"
    threads: 1
    message:
        "Train {wildcards.bundled} from scratch (about an hour on one core)"
    shell:
        "(python -m resources.generator train {wildcards.bundled} --threads {threads}"
        " --out resources/models/{wildcards.bundled} && python -m resources.generator score"
        " resources/models/{wildcards.bundled}) 2> {log:q}"
