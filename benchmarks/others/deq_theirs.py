"""A deep equilibrium and its gradient by torchdeq."""
# pyright: reportMissingImports=false

import torch
from torchdeq import get_deq
from worker import Step, load, serve

DATA = {name: torch.from_numpy(a) for name, a in load("data.npz").items()}
PARAMETERS = W, U, b = [DATA[name].requires_grad_() for name in "WUb"]


def case(threads, **settings) -> Step:
    deq = get_deq(**settings)
    deq.train()

    def step(batch):
        torch.set_num_threads(threads)
        injection = DATA["x"][batch] @ U.T + b
        iterates, _ = deq(lambda z: torch.tanh(z @ W.T + injection), torch.zeros(50, 256))
        cost = 0.5 * ((iterates[-1] - DATA["y"][batch]) ** 2).sum(1).mean()
        return iterates[-1].detach(), torch.autograd.grad(cost, PARAMETERS)

    return step


def implicit(tolerance):
    return {"ift": True, "f_tol": tolerance, "b_tol": tolerance, "f_max_iter": 200, "b_max_iter": 200}


if __name__ == "__main__":
    gradients = {"phantom gradient": {}, "ift, 1e-4": implicit(1e-4), "ift, 1e-5": implicit(1e-5)}
    serve({f"torchdeq, {name}, threads={n}": case(n, **of) for name, of in gradients.items() for n in (1, 2)})
