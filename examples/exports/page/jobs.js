// The on-demand jobs of one user, polled as `Retry-After` advises: 2 s at first, 5 s while running, 10 s while queued.

export class Jobs {
  /**
   * @param {string} token what `mainspring token create` has printed; it stays in memory
   * @param {typeof fetch} ask
   * @param {(seconds: number) => Promise<void>} wait
   */
  constructor(token, ask = fetch.bind(globalThis), wait = pause) {
    this.token = token;
    this.ask = ask;
    this.wait = wait;
  }

  /** Create a job and return its id. The same `key` creates it once, however often a cut connection makes us ask. */
  async create(jobType, payload, key) {
    const answer = await this.send("POST", "/v1/jobs", { jobType, payload }, { "Idempotency-Key": key });
    return (await answer.json()).jobId;
  }

  /** Tell every status of a job, and return the last one. */
  async follow(jobId, tell) {
    for (;;) {
      const answer = await this.send("GET", `/v1/jobs/${jobId}/status`);
      const status = await answer.json();
      tell(status);
      const advice = answer.headers.get("Retry-After");
      if (advice === null) return status; // it has ended: no polling needed
      await this.wait(Number(advice));
    }
  }

  async cancel(jobId) {
    await this.send("POST", `/v1/jobs/${jobId}/cancel`);
  }

  async retry(jobId) {
    await this.send("POST", `/v1/jobs/${jobId}/retry`);
  }

  /** Return the file of an export. */
  async file(job) {
    return (await this.send("GET", job.result.downloadUrl)).blob();
  }

  async send(method, address, body, headers = {}) {
    const answer = await this.ask(address, {
      method,
      headers: { Authorization: `Bearer ${this.token}`, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (answer.status === 429 || answer.status === 503) {
      await this.wait(Number(answer.headers.get("Retry-After")));
      return this.send(method, address, body, headers);
    }
    if (!answer.ok) throw new Error((await answer.json()).detail);
    return answer;
  }
}

function pause(seconds) {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}
