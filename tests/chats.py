"""Small chat templates, as models of several families have them."""

from editcore.testing.models import END

SYSTEM = "Be brief."
# The start token first, a system message of its own, and a line break before the answer.
LINES = (
    "{{ bos_token }}" + SYSTEM + "\n"
    "{% for m in messages %}{{ '# ' + m['role'] + '\n' + m['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '# assistant\n' }}{% endif %}"
)
# As Llama 2: a space before the answer.
SPACED = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] + ' [/INST]' }}{% else %}{{ ' ' + m['content'] + eos_token }}"
    "{% endif %}{% endfor %}"
)
# As DeepSeek: the answer right after a special token.
JOINED = "{{ bos_token }}{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}"
# Without a prompt for the answer, which only a chat with an answer shows.
UNPROMPTED = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}"
    "{% endfor %}"
)
# As GLM 4: the model itself begins its answer with a line break.
BROKEN = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '<user>\n' + m['content'] }}{% else %}{{ '<model>\n' + m['content'] + eos_token }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<model>' }}{% endif %}"
)
# As Qwen 3 and SmolLM 3: the date, and an empty place for thoughts unless they are wanted.
THINKING = (
    "{{ bos_token }}Today is {{ strftime_now('%d %B %Y') }}.\n"
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '<user>\n' + m['content'] + '\n' }}"
    "{% else %}{{ '<model>\n<think></think>' + m['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<model>\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think></think>' }}{% endif %}"
    "{% endif %}"
)
ALL = {
    "lines": LINES,
    "spaced": SPACED,
    "joined": JOINED,
    "unprompted": UNPROMPTED,
    "broken": BROKEN,
    "thinking": THINKING,
}
START = END
