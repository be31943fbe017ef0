"""A typed job, asked for and awaited, in one small program: `python examples/first_job.py`."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from mainspring import JobContext, Mainspring, Retry, TransientError

app = Mainspring()  # a SQLite file in the working directory, unless MAINSPRING_DATABASE_URL says otherwise


@dataclass
class Letter:
    """Whom to write to."""

    to: str
    pages: int = 3


@app.job("send-letter", retry=Retry(max_retries=3, base=timedelta(seconds=0.1)), timeout=timedelta(minutes=1))
async def send_letter(ctx: JobContext[Letter], payload: Letter) -> str:
    """Write a letter page by page; the post office is closed the first time."""
    for page in range(1, payload.pages + 1):
        ctx.step(page, of=payload.pages, label=f"page {page}")
    if ctx.attempt == 1:
        raise TransientError("the post office is closed")
    return f"{payload.pages} pages to {payload.to}, at attempt {ctx.attempt}"


async def main() -> None:
    """Run the job here, and wait for it."""
    async with app.running():
        execution = await send_letter.enqueue(Letter(to="Ada"), priority=5)
        print(await execution.wait(timeout=timedelta(seconds=30)))


if __name__ == "__main__":
    asyncio.run(main())
