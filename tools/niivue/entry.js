export { Niivue, NVImage, NVMesh } from "@niivue/niivue";
