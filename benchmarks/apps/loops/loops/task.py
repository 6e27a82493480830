"""The training that both loops do: a quadratic in ten dimensions, one step a round, nothing compressed."""

DIM = 10


def scenario(clients: int) -> str:
    """As our side is told it."""
    return f"""
name = "loops"
rounds = 1000
partition = {{ clients = {clients} }}
model = {{ name = "quadratic", dim = {DIM}, sigma = 0.0 }}
train = {{ batch_size = "full" }}
evaluate = {{ audit = false, traffic = "off" }}
engine = {{ actors = 0 }}
method = [{{ name = "sgdm", gamma = 0.1 }}]
"""
