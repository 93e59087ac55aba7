# From rows to tables, figures and the report; no model is loaded here.


rule summarise:
    input:
        study.edit_files,
        study="results/jobs/study.json",
    output:
        cases="results/summary/cases.parquet",
        verdicts="results/summary/verdicts.parquet",
        warning="results/summary/warning.parquet",
    log:
        "results/logs/summarise.log",
    conda:
        "../envs/editcore.yaml"
    params:
        folder=subpath(output.cases, parent=True),
    message:
        "Summarise the edits"
    shell:
        "editcore summarise --study {input.study:q} --out {params.folder:q} 2> {log:q}"


rule summarise_rounding:
    input:
        study.rounding_files,
        study="results/jobs/study.json",
    output:
        "results/summary/rounding.parquet",
    log:
        "results/logs/summarise-rounding.log",
    conda:
        "../envs/editcore.yaml"
    params:
        folder=subpath(output[0], parent=True),
    message:
        "Join the tables of rounded models"
    shell:
        "editcore summarise --what rounding --study {input.study:q}"
        " --out {params.folder:q} 2> {log:q}"


rule summarise_answers:
    input:
        study.answer_files,
        study="results/jobs/study.json",
    output:
        scores="results/summary/answers.parquet",
        examples="results/summary/answers-examples.parquet",
    log:
        "results/logs/summarise-answers.log",
    conda:
        "../envs/editcore.yaml"
    params:
        folder=subpath(output.scores, parent=True),
    message:
        "Score the free answers"
    shell:
        "editcore summarise --what answers --study {input.study:q}"
        " --out {params.folder:q} 2> {log:q}"


rule report:
    input:
        study.summaries,
        study="results/jobs/study.json",
    output:
        page=report("results/report.html", caption="../report/page.rst", category="Report"),
        figures=report(
            directory("results/figures"),
            patterns=["{figure}.svg"],
            caption="../report/figures.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        "results/logs/report.log",
    conda:
        "../envs/editcore.yaml"
    params:
        summary=subpath(input[0], parent=True),
    message:
        "Draw the figures and write the report"
    shell:
        "editcore report --summary {params.summary:q} --study {input.study:q}"
        " --figures {output.figures:q} --out {output.page:q} 2> {log:q}"
