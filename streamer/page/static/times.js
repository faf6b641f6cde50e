/* The time of the own zone of whoever reads, beside the UTC time that the pointer rests on. */
"use strict";
{
  const shape = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  document.addEventListener("pointerover", (event) => {
    const time = event.target instanceof Element && event.target.closest("time[datetime]");
    const at = time ? new Date(time.dateTime) : NaN;
    if (!isNaN(at) && !time.title) time.title = shape.format(at);
  });
}
