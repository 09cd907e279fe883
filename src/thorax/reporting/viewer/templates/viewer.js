// One viewer per page: it shows one case at a time, and decodes a case when it is opened.
(() => {
  "use strict";
  const { Niivue, NVImage, NVMesh } = globalThis.thoraxNiivue;
  const VIEWS = { axial: 0, coronal: 1, sagittal: 2, all: 3, "3d": 4 };
  // By NiiVue's number of a slice type: the fixed axis, the axes across and up, the ends of the fixed
  // axis, and the directions at the left, right, upper and lower edge of the picture.
  const PLANES = [
    { fixed: 2, across: 0, up: 1, ends: ["I", "S"], sides: ["R", "L", "A", "P"] },
    { fixed: 1, across: 0, up: 2, ends: ["P", "A"], sides: ["R", "L", "S", "I"] },
    { fixed: 0, across: 1, up: 2, ends: ["L", "R"], sides: ["A", "P", "S", "I"] },
  ];
  const TINT = 0.35; // Share of white that is mixed into the colours of a second mask.
  const DASHES = [[], [6, 4], [1.5, 3.5]]; // One per mask; the last is for all further masks.
  const dash = (number) => DASHES[Math.min(number, DASHES.length - 1)];

  const rgb = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const tinted = (colour) => rgb(colour).map((part) => Math.round(part + (255 - part) * TINT));
  const shade = (colour, second) => (second ? tinted(colour) : rgb(colour));
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  function bytes(base64) {
    const text = atob(base64);
    const array = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) array[i] = text.charCodeAt(i);
    return array.buffer;
  }

  // Outline of the pixels for which `inside` is true: closed loops along their edges, smoothed by at
  // most half a voxel, in shares of the slice's width and height.
  function outline(inside, width, height) {
    const stride = width + 1;
    const first = new Int32Array(stride * (height + 1)).fill(-1);
    const second = new Int32Array(stride * (height + 1)).fill(-1);
    const add = (from, to) => { if (first[from] < 0) first[from] = to; else second[from] = to; };
    const at = (x, y) => x >= 0 && y >= 0 && x < width && y < height && inside(x, y);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (!inside(x, y)) continue;
        const corner = y * stride + x;
        if (!at(x, y - 1)) add(corner, corner + 1);
        if (!at(x + 1, y)) add(corner + 1, corner + 1 + stride);
        if (!at(x, y + 1)) add(corner + 1 + stride, corner + stride);
        if (!at(x - 1, y)) add(corner + stride, corner);
      }
    }
    const path = new Path2D();
    for (let start = 0; start < first.length; start++) {
      while (first[start] >= 0) draw(path, loop(start));
    }
    return path;

    function loop(start) {
      const corners = [];
      for (let here = start; ;) {
        corners.push([(here % stride) / width, Math.floor(here / stride) / height]);
        const next = first[here];
        first[here] = second[here];
        second[here] = -1;
        here = next;
        if (here === start) return corners;
      }
    }
  }

  const midpoints = (points) => points.map(([x, y], i) => {
    const [u, v] = points[(i + 1) % points.length];
    return [(x + u) / 2, (y + v) / 2];
  });

  function draw(path, corners) {
    let points = midpoints(corners);
    for (let round = 0; round < 3 && points.length > 12; round++) points = midpoints(points);
    points.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }

  class Viewer {
    constructor(root) {
      this.root = root;
      this.part = (name) => root.querySelector(`.viewer-${name}`);
      this.sources = [...root.querySelectorAll("script.viewer-data")];
      this.view = "axial";
      this.window = 0;
      this.opening = 0;
      this.paths = new Map();
      this.listen();
    }

    listen() {
      for (const button of this.root.querySelectorAll("[data-view]")) {
        button.addEventListener("click", () => this.show(button.dataset.view));
      }
      this.part("range").addEventListener("input", (event) => this.slide(+event.target.value));
      this.part("gl").addEventListener("keydown", (event) => this.key(event));
      this.part("choice")?.addEventListener("change", (event) => this.open(+event.target.value));
      document.addEventListener("click", (event) => this.follow(event));
    }

    // A link or button anywhere on the page with `data-viewer-case` opens the case of that name.
    follow(event) {
      const name = event.target.closest?.("[data-viewer-case]")?.dataset.viewerCase;
      const number = this.sources.findIndex((source) => source.dataset.name === name);
      if (name === undefined || number < 0) return;
      event.preventDefault();
      this.root.scrollIntoView({ block: "start" });
      this.part("gl").focus({ preventScroll: true });
      this.open(number);
    }

    setStatus(text) {
      this.part("status").textContent = text;
      this.part("status").hidden = !text;
    }

    async start() {
      if (!document.createElement("canvas").getContext("webgl2")) {
        throw new Error("The viewer needs WebGL 2, which this browser does not support.");
      }
      const nv = new Niivue({
        backColor: [0, 0, 0, 1], crosshairWidth: 0, crosshairColor: [0.75, 0.8, 0.9, 0.6],
        crosshairWidthUnit: "mm", crosshairGap: 12,
        isOrientationTextVisible: false, isRadiologicalConvention: true,
        sagittalNoseLeft: true, meshThicknessOn2D: 0, show3Dcrosshair: false, multiplanarShowRender: 1,
        multiplanarLayout: 2, multiplanarPadPixels: 6, tileMargin: 0, dragAndDropEnabled: false,
        dragMode: 9, logLevel: "error", loadingText: "", showLegend: false,
        viewModeHotKey: "", clipPlaneHotKey: "", cycleClipPlaneHotKey: "",
      });
      // In 3D only surfaces are drawn. Keys are handled here, and a double click has no effect.
      nv.drawImage3D = nv.keyDownListener = nv.keyUpListener = nv.resetBriCon = () => {};
      const setPivot = nv.setPivot3D.bind(nv);
      nv.setPivot3D = () => {
        setPivot();
        this.centreSurfaces();
      };
      const drawScene = nv.drawScene.bind(nv);
      nv.drawScene = this.drawScene = () => {
        const result = drawScene();
        this.afterDraw();
        return result;
      };
      await nv.attachToCanvas(this.part("gl"), true);
      nv.scene.renderAzimuth = 165;
      nv.scene.renderElevation = 8;
      this.nv = nv;
    }

    // In 3D, rotate around the surfaces, not around the box of the scan.
    centreSurfaces() {
      const meshes = this.nv?.meshes ?? [];
      if (!meshes.length) return;
      const corner = (key, pick) => [0, 1, 2].map((axis) => pick(...meshes.map((mesh) => mesh[key][axis])));
      const low = corner("extentsMin", Math.min);
      const high = corner("extentsMax", Math.max);
      this.nv.pivot3D = low.map((value, axis) => (value + high[axis]) / 2);
      this.nv.furthestFromPivot = Math.hypot(...low.map((value, axis) => high[axis] - value)) / 2;
    }

    async open(number) {
      const turn = ++this.opening;
      this.setStatus("Opening …");
      this.root.setAttribute("aria-busy", "true");
      try {
        this.started ??= this.start();
        await this.started;
        const content = JSON.parse(this.sources[number].textContent);
        const loaded = await this.load(content);
        if (turn === this.opening) this.replace(content, loaded, number);
      } catch (error) {
        if (turn === this.opening) this.setStatus(error.message || String(error));
        console.error(error);
      }
      if (turn === this.opening) this.root.removeAttribute("aria-busy");
    }

    async load(content) {
      const image = await NVImage.loadFromBase64({ base64: content.scan, name: "scan.nii.gz" });
      const masks = [];
      for (const [number, mask] of content.masks.entries()) {
        const labels = await NVImage.loadFromBase64({ base64: mask.labels, name: "mask.nii.gz" });
        const surfaces = [];
        for (const [region, mesh] of Object.entries(mask.surfaces)) {
          surfaces.push({ region: +region, mesh: await this.surface(content, number, +region, mesh) });
        }
        masks.push({ size: labels.hdr.dims.slice(1, 4), labels: labels.img, surfaces });
      }
      return { image, masks };
    }

    surface(content, mask, region, base64) {
      const colour = new Uint8Array([...shade(content.regions[region].colour, mask > 0), 255]);
      const opacity = content.regions[region].holds ? 0.3 - 0.08 * (mask > 0) : 1 - 0.5 * (mask > 0);
      return NVMesh.readMesh(bytes(base64), "surface.mz3", this.nv.gl, opacity, colour);
    }

    replace(content, loaded, number) {
      const nv = this.nv;
      // Each of these would create textures and draw; `setWindow` does so once, at the end.
      nv.updateGLVolume = nv.drawScene = () => {};
      while (nv.volumes.length) nv.removeVolume(nv.volumes[0]);
      while (nv.meshes.length) nv.removeMesh(nv.meshes[0]);
      this.paths.clear();
      this.current = content;
      this.masks = loaded.masks;
      this.visible = { masks: content.masks.map(() => true), regions: content.regions.map(() => true) };
      this.members = content.regions.map((region) => {
        const table = new Uint8Array(256);
        for (const label of region.labels) table[label] = 1;
        return table;
      });
      this.updateControls(number);
      nv.addVolume(loaded.image);
      // Transparent surfaces are drawn last.
      loaded.masks.flatMap((mask) => mask.surfaces).map(({ mesh }) => mesh)
        .sort((a, b) => b.opacity - a.opacity).forEach((mesh) => nv.addMesh(mesh));
      nv.scene.crosshairPos = content.start;
      this.show(this.view);
      nv.drawScene = this.drawScene;
      delete nv.updateGLVolume;
      this.setWindow(0);
      this.setStatus("");
      this.root.dataset.opened = content.name;
    }

    // The controls that depend on the case: windows, legend, notes.
    updateControls(number) {
      const { windows, masks, regions, notes } = this.current;
      if (this.part("choice")) this.part("choice").value = number;
      this.part("windows").replaceChildren(...windows.map((window, at) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = window.name;
        button.addEventListener("click", () => this.setWindow(at));
        return button;
      }));
      this.part("windows").hidden = windows.length < 2;
      this.part("legend").replaceChildren(
        ...masks.map((mask, at) => this.box(this.visible.masks, at, line(at), mask.name)),
        ...regions.map((region, at) => this.box(this.visible.regions, at, patch(region.colour), region.name)),
      );
      this.part("legend").hidden = !masks.length;
      this.part("case-notes").replaceChildren(...notes.map((note) => {
        const item = document.createElement("li");
        item.textContent = note;
        return item;
      }));
    }

    box(states, at, picture, name) {
      const label = document.createElement("label");
      const input = document.createElement("input");
      input.type = "checkbox";
      input.checked = true;
      input.addEventListener("change", () => {
        states[at] = input.checked;
        this.refresh();
      });
      const text = document.createElement("span");
      text.textContent = name;
      label.append(input, picture, text);
      return label;
    }

    refresh() {
      this.masks.forEach((mask, number) => {
        for (const { region, mesh } of mask.surfaces) {
          mesh.visible = this.visible.masks[number] && this.visible.regions[region];
        }
      });
      this.nv.drawScene();
    }

    setWindow(number) {
      const window = this.current.windows[number];
      Object.assign(this.nv.volumes[0], { cal_min: window.low, cal_max: window.high });
      this.nv.updateGLVolume();
      [...this.part("windows").children].forEach((button, at) =>
        button.setAttribute("aria-pressed", String(at === number)));
    }

    show(view) {
      this.view = view;
      for (const button of this.root.querySelectorAll("[data-view]")) {
        button.setAttribute("aria-pressed", String(button.dataset.view === view));
      }
      if (!this.current) return;
      const range = this.part("range");
      range.min = view === "3d" ? 0 : 1;
      range.max = view === "3d" ? 359 : this.planes;
      this.nv.opts.crosshairWidth = view === "all" ? 0.8 : 0;
      this.nv.setSliceType(VIEWS[view]);
    }

    get plane() { return PLANES[VIEWS[this.view]] ?? PLANES[0]; }
    get planes() { return this.nv.volumes[0].dimsRAS[this.plane.fixed + 1]; }

    slide(value) {
      if (!this.current) return;
      if (this.view === "3d") {
        this.nv.setRenderAzimuthElevation(value, this.nv.scene.renderElevation);
        return;
      }
      const place = [...this.nv.scene.crosshairPos];
      place[this.plane.fixed] = (clamp(value, 1, this.planes) - 0.5) / this.planes;
      this.nv.scene.crosshairPos = place;
      this.nv.drawScene();
    }

    key(event) {
      const steps = { ArrowUp: 1, ArrowRight: 1, PageUp: 10, ArrowDown: -1, ArrowLeft: -1, PageDown: -10 };
      const step = steps[event.key];
      if (!step || !this.current || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      const value = +this.part("range").value + step * (this.view === "3d" ? 5 : 1);
      this.slide(this.view === "3d" ? (value + 360) % 360 : value);
    }

    // After each drawing by NiiVue: outlines over the slices, and the slider.
    afterDraw() {
      if (!this.current || !this.nv?.volumes.length) return;
      const { width, height } = this.nv.gl.canvas;
      const canvas = this.part("lines");
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, width, height);
      for (const tile of this.nv.screenSlices) {
        if (tile.axCorSag < 3) this.trace(context, tile);
      }
      this.updateSlider();
    }

    trace(context, tile) {
      const plane = PLANES[tile.axCorSag];
      const scale = this.nv.uiData.dpr || 1;
      const matrix = sliceTransform(tile, plane, this.nv.volumes[0].frac2mmOrtho);
      const [left, top, wide, high] = tile.leftTopWidthHeight;
      context.save();
      context.beginPath();
      context.rect(left, top, wide, high);
      context.clip();
      context.lineJoin = "round";
      this.masks.forEach((mask, number) => this.visible.masks[number] && this.members.forEach((_, region) => {
        if (!this.visible.regions[region]) return;
        const path = new Path2D();
        path.addPath(this.path(number, region, tile), matrix);
        context.setLineDash(dash(number).map((length) => length * scale));
        context.lineWidth = 3.2 * scale;
        context.strokeStyle = "rgba(0, 0, 0, 0.6)";
        context.stroke(path);
        context.lineWidth = 1.7 * scale;
        context.strokeStyle = `rgb(${shade(this.current.regions[region].colour, number > 0)})`;
        context.stroke(path);
      }));
      labelEdges(context, plane.sides, tile.leftTopWidthHeight, scale);
      context.restore();
    }

    path(number, region, tile) {
      const { size, labels } = this.masks[number];
      const { fixed, across, up } = PLANES[tile.axCorSag];
      const index = clamp(Math.floor(tile.sliceFrac * size[fixed]), 0, size[fixed] - 1);
      const key = [number, region, fixed, index].join();
      if (!this.paths.has(key)) {
        const steps = [1, size[0], size[0] * size[1]];
        const member = this.members[region];
        const inside = (x, y) => member[labels[index * steps[fixed] + x * steps[across] + y * steps[up]]];
        this.paths.set(key, outline(inside, size[across], size[up]));
      }
      return this.paths.get(key);
    }

    updateSlider() {
      const range = this.part("range");
      const output = this.part("where");
      if (this.view === "3d") {
        const degrees = Math.round(this.nv.scene.renderAzimuth + 360) % 360;
        range.value = degrees;
        this.part("axis").textContent = "Rotation";
        output.textContent = `${degrees}°`;
      } else {
        const { fixed, ends } = this.plane;
        const share = this.nv.scene.crosshairPos[fixed];
        const number = clamp(Math.floor(share * this.planes) + 1, 1, this.planes);
        const mm = Math.round(this.nv.frac2mm(this.nv.scene.crosshairPos)[fixed]);
        range.value = number;
        this.part("axis").textContent = this.view === "all" ? "Axial slice" : "Slice";
        output.textContent = `${number} of ${this.planes} · ${ends[+(mm >= 0)]} ${Math.abs(mm)} mm`;
      }
      range.setAttribute("aria-valuetext", output.textContent);
    }
  }

  // Transform from shares of a slice to pixels of the canvas; NiiVue may mirror, move and zoom it.
  function sliceTransform(tile, { across, up }, ortho) {
    const [left, top, wide, high] = tile.leftTopWidthHeight;
    const along = (axis, start, extent) => [
      ortho[axis * 5] / extent, (ortho[12 + axis] - start) / extent,
    ];
    const [sx, tx] = along(across, tile.leftTopMM[0], tile.fovMM[0]);
    const [sy, ty] = along(up, tile.leftTopMM[1], tile.fovMM[1]);
    return new DOMMatrix([sx * wide, 0, 0, -sy * high, left + tx * wide, top + (1 - ty) * high]);
  }

  // Write the direction (R, L, A, P, S, I) at each edge.
  function labelEdges(context, sides, [left, top, wide, high], scale) {
    const edge = 14 * scale;
    const middle = [left + wide / 2, top + high / 2];
    const positions = [
      [left + edge, middle[1]], [left + wide - edge, middle[1]],
      [middle[0], top + edge], [middle[0], top + high - edge],
    ];
    Object.assign(context, {
      font: `600 ${14 * scale}px system-ui, sans-serif`, textAlign: "center", textBaseline: "middle",
      lineWidth: 3 * scale, strokeStyle: "rgba(0, 0, 0, 0.75)", fillStyle: "#f2f4f7",
    });
    context.setLineDash([]);
    sides.forEach((side, at) => {
      context.strokeText(side, ...positions[at]);
      context.fillText(side, ...positions[at]);
    });
  }

  // Icons of the legend; the markup is constant, colours are set as attributes.
  function icon(markup, attributes) {
    const template = document.createElement("template");
    template.innerHTML = markup;
    const svg = template.content.firstChild;
    for (const [name, value] of Object.entries(attributes)) svg.firstChild.setAttribute(name, value);
    return svg;
  }
  const line = (number) => icon(
    '<svg width="38" height="16" aria-hidden="true"><path d="M4 8H34" fill="none" stroke-width="2"/></svg>',
    { stroke: number ? "#fff" : "#b8c1cc", "stroke-dasharray": dash(number).join(" ") || "none" },
  );
  const patch = (colour) => icon(
    '<svg width="16" height="16" aria-hidden="true"><rect width="16" height="16"/></svg>', { fill: colour },
  );

  const begin = () => {
    const root = document.querySelector(".viewer");
    if (!root) return;
    const viewer = new Viewer(root);
    // Nothing is decoded before it is visible.
    const observer = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      if (!viewer.opening) viewer.open(0);
    });
    observer.observe(viewer.part("stage"));
    globalThis.thoraxViewer = viewer;
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
