"""Studies: one scenario over a grid or a search of its keys, with seeds as repetitions, trials side by side.

form      what a study file may say            reading   files to studies, every combination checked
plan      settings, methods and trials         lines     which trials follow which: grid, search, pruning
trial     one run folder                       pool      trials side by side on Ray
conduct   a study from its start, or resumed   reached   what a trial came to
bootstrap, tables, warned, page                what the study showed
"""
