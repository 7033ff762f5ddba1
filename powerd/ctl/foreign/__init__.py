"""Foreign: other programs' ways to declare models, read as entries of models.yaml. Pure.

What cannot be carried over is never dropped in silence: it stands above the entry as a comment that names it.
May import powerd.modelfile, and of powerd.ctl only models_text.
"""
