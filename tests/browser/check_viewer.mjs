// Test a page of the viewer in Chromium: node check_viewer.mjs PAGE [FOLDER FOR SCREENSHOTS]
// Exits with 1 after an error of the browser, a network request, or a control without effect.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const { chromium } = createRequire(import.meta.url)("playwright-core");
const [page_path, screenshots] = process.argv.slice(2);
const SIZES = [{ width: 1280, height: 900 }, { width: 390, height: 844 }];
const PHONE = 500;
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const args = [
  "--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader",
  "--enable-unsafe-swiftshader", "--disable-dev-shm-usage",
];

async function check(browser, size) {
  const phone = size.width < PHONE;
  const context = await browser.newContext({
    viewport: size, hasTouch: phone, colorScheme: phone ? "dark" : "light",
  });
  const page = await context.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    const expected = /GPU stall due to ReadPixels|GL Driver Message/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !expected) problems.push(message.text());
  });
  page.on("request", (request) => {
    if (!/^(file|data|blob):/.test(request.url())) problems.push(`request of ${request.url()}`);
  });
  await page.goto(pathToFileURL(resolve(page_path)).href);
  const viewer = page.locator(".viewer");
  await viewer.scrollIntoViewIfNeeded();
  await page.waitForSelector(".viewer[data-opened]", { timeout: 120000 });

  const shot = async (name) => {
    await page.waitForTimeout(200);
    if (screenshots) await page.locator("body").screenshot({ path: `${screenshots}/viewer-${name}-${size.width}.png`, timeout: 120000 });
  };
  // Checksum of the pixels of a canvas.
  const checksum = (canvas) => page.evaluate((name) => {
    const nv = globalThis.thoraxViewer.nv;
    nv.drawScene();
    const source = document.querySelector(name);
    const copy = Object.assign(document.createElement("canvas"), { width: source.width, height: source.height });
    const pen = copy.getContext("2d");
    pen.drawImage(source, 0, 0);
    const { data } = pen.getImageData(0, 0, copy.width, copy.height);
    return data.reduce((sum, value, at) => (sum + value * ((at % 9973) + 1)) % 2 ** 40, 0);
  }, canvas);
  const changes = async (what, canvas, act) => {
    const before = await checksum(canvas);
    await act();
    await page.waitForTimeout(150);
    assert.notEqual(await checksum(canvas), before, `${what} changes nothing`);
  };
  const button = (name) => viewer.getByRole("button", { name, exact: true });
  const where = () => viewer.locator(".viewer-where").textContent();

  await shot("axial");
  const range = viewer.locator(".viewer-range");
  await changes("the slider", ".viewer-gl", async () => {
    await range.focus();
    for (let i = 0; i < 5; i++) await page.keyboard.press("ArrowRight");
  });
  const position = await where();
  await changes("the wheel", ".viewer-gl", async () => {
    await viewer.locator(".viewer-gl").hover();
    await page.mouse.wheel(0, 100);
  });
  assert.notEqual(await where(), position, "the wheel does not move the slider");
  await changes("the keyboard", ".viewer-gl", async () => {
    await viewer.locator(".viewer-gl").focus();
    await page.keyboard.press("PageDown");
  });
  const boxes = viewer.getByRole("checkbox");
  for (let i = 0; i < Math.min(2, await boxes.count()); i++) {
    await changes("a box", ".viewer-lines", () => boxes.nth(i).click());
    if (i === 0) await shot("second-only");
    await changes("a box", ".viewer-lines", () => boxes.nth(i).click());
  }
  if (await button("Mediastinum").count()) {
    await changes("the window", ".viewer-gl", () => button("Mediastinum").click());
    await shot("mediastinum");
    await button("Lung").click();
  }
  for (const view of ["Coronal", "Sagittal", "All"]) {
    await changes(view, ".viewer-gl", () => button(view).click());
    await shot(view.toLowerCase());
  }
  await button("3D").click();
  await shot("3d");
  if (await boxes.count()) {
    await changes("turning by the slider", ".viewer-gl", () => range.fill("230"));
    const box = await viewer.locator(".viewer-gl").boundingBox();
    await changes("turning by hand", ".viewer-gl", async () => {
      await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
      await page.mouse.down();
      await page.mouse.move(box.x + box.width / 2 - 60, box.y + box.height / 2 + 10, { steps: 3 });
      await page.mouse.up();
    });
    await shot("3d-turned");
  }
  const choice = viewer.locator(".viewer-choice");
  if (await choice.count()) {
    const name = await choice.locator("option").nth(1).textContent();
    await choice.selectOption("1");
    const opened = (wanted) => page.waitForFunction((name) =>
      document.querySelector(".viewer").dataset.opened === name, wanted, { timeout: 120000 });
    await opened(name);
    await shot("other-case");
    // A report has buttons that open a case.
    const first = await choice.locator("option").nth(0).textContent();
    await page.evaluate((wanted) => {
      const own = Object.assign(document.createElement("button"), { id: "own", textContent: "Look" });
      own.dataset.viewerCase = wanted;
      document.body.append(own);
    }, first);
    await page.locator("#own").click();
    await opened(first);
    assert.equal(await choice.inputValue(), "0");
  }
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, `the page is ${overflow} px too wide at ${size.width} px`);
  assert.deepEqual(problems, []);
  await context.close();
}

const browser = await chromium.launch({ executablePath, args });
try {
  for (const size of SIZES) await check(browser, size);
} finally {
  await browser.close();
}
console.log("ok");
