import { Jobs } from "/jobs.js";

const [form, progress, said, cancel, retry, download] = ["wanted", "progress", "said", "cancel", "retry", "download"].map(
  (id) => document.getElementById(id),
);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const wanted = new FormData(form);
  const jobs = new Jobs(wanted.get("token"));
  const days = { dateFrom: wanted.get("first"), dateTo: wanted.get("last") };
  const filters = Object.fromEntries(Object.entries(days).filter(([, day]) => day));
  const payload = { reportType: wanted.get("report"), format: "csv", filters };
  await told(async () => {
    const jobId = await jobs.create("export_report", payload, crypto.randomUUID());
    cancel.onclick = () => told(() => jobs.cancel(jobId));
    retry.onclick = () => told(async () => {
      await jobs.retry(jobId);
      await follow(jobs, jobId);
    });
    await follow(jobs, jobId);
  });
});

async function follow(jobs, jobId) {
  const { job } = await jobs.follow(jobId, show);
  if (job.status === "succeeded") {
    said.textContent = `${job.result.recordCount} rows are ready.`;
    download.onclick = () => told(async () => save(await jobs.file(job), job.result.downloadUrl.split("/").pop()));
  }
}

function show({ job, canCancel, canRetry }) {
  progress.value = job.progress;
  said.textContent = job.errorMessage ?? `The export is ${job.status}, ${job.progress} %.`;
  cancel.hidden = !canCancel;
  retry.hidden = !canRetry;
  download.hidden = job.status !== "succeeded";
}

function save(file, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** Do something, and say what was wrong if it was. */
async function told(work) {
  try {
    await work();
  } catch (error) {
    said.textContent = error.message;
  }
}
