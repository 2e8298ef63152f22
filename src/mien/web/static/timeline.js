// The timeline beside the video: a click or an arrow key moves the video, a line on the timeline follows it.

let link = null;  // what binds the present timeline to the video; cut when another is shown

export async function showTimeline(plot, video, figure, start) {
  link?.abort();
  link = new AbortController();
  const options = { signal: link.signal };
  await Plotly.newPlot(plot, figure.data, suited(figure.layout, plot, video), { displaylogo: false, displayModeBar: false });

  const seek = time => { video.currentTime = Math.min(Math.max(time - start, 0), video.duration || Infinity); };
  plot.removeAllListeners("plotly_click");
  plot.on("plotly_click", event => seek(event.xvals?.[0] ?? event.points[0].x));

  let drawn = -1, last = 0;
  const follow = () => {
    const time = video.currentTime + start;
    if (time === drawn) return;
    drawn = time;
    Plotly.relayout(plot, { "shapes[0].x0": time, "shapes[0].x1": time });
    plot.setAttribute("aria-valuenow", time.toFixed(2));
    plot.setAttribute("aria-valuetext", `${time.toFixed(2)} seconds`);
  };
  const play = now => {
    if (options.signal.aborted || video.paused) return;
    if (now - last > 80) { last = now; follow(); }  // drawing costs more than a frame may take
    requestAnimationFrame(play);
  };
  video.addEventListener("play", () => requestAnimationFrame(play), options);
  for (const name of ["timeupdate", "seeked", "loadedmetadata"]) video.addEventListener(name, follow, options);
  video.addEventListener("loadedmetadata", () => plot.setAttribute("aria-valuemax", (start + video.duration).toFixed(2)), options);
  plot.setAttribute("aria-valuemin", start.toFixed(2));
  plot.addEventListener("keydown", event => {
    const step = event.shiftKey ? 0.1 : 1;
    const to = { ArrowLeft: video.currentTime - step, ArrowRight: video.currentTime + step, ArrowDown: video.currentTime - step,
      ArrowUp: video.currentTime + step, Home: 0, End: video.duration }[event.key];
    if (to !== undefined) seek(to + start);
    else if (event.key === " ") video.paused ? video.play() : video.pause();
    else return;
    event.preventDefault();
  }, options);
  const watcher = new ResizeObserver(() => Plotly.relayout(plot, sized(plot, video, figure.layout.height)));
  watcher.observe(plot.parentElement);
  watcher.observe(video);
  options.signal.addEventListener("abort", () => watcher.disconnect());
}

function suited(layout, plot, video) {
  const [cursor, ...others] = layout.shapes;
  const own = layout.height;
  return {
    ...layout, ...sized(plot, video, own),
    shapes: [{ ...cursor, line: { color: "#1d2127", width: 1.5 } }, ...others],
    clickanywhere: true,  // in gaps too, where there is no point to click
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",  // fingers scroll the page
    hoverlabel: { namelength: -1 },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, traceorder: "normal", itemwidth: 30, font: { size: 11 } },
  };
}

// As wide as the page allows, as high as the video beside it; narrow windows have a legend of several lines, and no room for labels that hover.
function sized(plot, video, own) {
  const width = plot.parentElement.clientWidth, narrow = width < 520;
  return {
    width,
    height: narrow ? own : Math.max(own, video.clientHeight),
    hovermode: narrow ? false : "x unified",
    margin: { l: 46, r: 8, t: 28, b: narrow ? 120 : 84 },
  };
}
