"""Makes the demo model and its judges from scratch: draws the world, trains four small networks, writes the files that ship.

Every stage is seeded, shows its progress and resumes where it was stopped; working files (9 GB) are in --work.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python dev.py train-demo-model", description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help="folder for the working files")
    parser.add_argument("--only-judges", action="store_true", help="train only the judges, for the model already in demo/")
    arguments = parser.parse_args()
    from comfy.cli_args import args

    args.cpu = True
    from demo.judges import image_text, recognizer
    from demo.model import MODEL_FILE, load_demo_model
    from demo.training import export, judges, latents, unet, vae

    work = arguments.work or arguments.base / "demo_model_training"
    work.mkdir(parents=True, exist_ok=True)
    if not arguments.only_judges:
        autoencoder = vae.train(work)
        model, seen = unet.train(work, autoencoder)
        steps = {"unet_steps": unet.STEPS, "vae_steps": len(vae.RATES) + len(vae.DECODER_RATES)}
        about = {**steps, "scenes": sum(one.count for one in latents.SETS)}
        export.export_model(model, autoencoder, seen, MODEL_FILE, about)
    _, _, shipped = load_demo_model()
    pictures = judges.Pictures.of(work, shipped.first_stage_model)
    for file, train in ((recognizer.FILE, judges.train_recognizer), (image_text.FILE, judges.train_image_text)):
        judge, accuracies = train(work, pictures)
        export.write(judge.state_dict(), file, accuracies)


if __name__ == "__main__":
    main()
