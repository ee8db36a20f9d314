"""What a model costs over its life: training spread over queries, break-even points, and who is the cheapest.

`costs` takes what each model costs from a study or a table, `amortising` spreads it, and `comparison` ranks
what was measured. Nothing here loads torch.
"""
