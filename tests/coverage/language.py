# SPDX-License-Identifier: Apache-2.0
"""Networks of transformers, made from small configurations: nothing is downloaded."""
import torch
from torch import nn

from zoo import Model, add, images, warmed

WORDS = 97
TEXT = [dict(batch=2, seq=12), dict(batch=1, seq=7), dict(batch=3, seq=19)]
BATCH = [dict(batch=2), dict(batch=1), dict(batch=5)]


def hf():
    import transformers
    return transformers


def ids(batch, seq):
    return torch.randint(3, WORDS, (batch, seq))


def padding(batch, seq):
    mask = torch.ones(batch, seq, dtype=torch.long)
    mask[0, seq - 3:] = 0
    return mask


class Call(nn.Module):
    """Passes positional arguments by name and gives the outputs named `take`, as tensors."""
    def __init__(self, model, names, take, **fixed):
        super().__init__()
        self.model, self.names, self.take, self.fixed = model, names, take, fixed

    def forward(self, *args):
        out = self.model(**dict(zip(self.names, args)), **self.fixed)
        return tuple(getattr(out, t) for t in self.take) if len(self.take) > 1 else getattr(out, self.take[0])


def scaled(model, std=0.15):
    """transformers starts matrices at 0.02, far too small for narrow layers: every block would be lost in the residual."""
    for name, p in model.named_parameters():
        if p.dim() > 1:
            nn.init.normal_(p, 0, std)
        elif name.endswith("bias"):
            nn.init.normal_(p, 0, 0.05)
    return model


def text(name, build, names=("input_ids", "attention_mask"), take=("last_hidden_state",), sizes=TEXT, relative=False, **fixed):
    def inputs(batch, seq):
        made = {"input_ids": ids(batch, seq), "attention_mask": padding(batch, seq), "token_type_ids": torch.randint(0, 2, (batch, seq))}
        return tuple(made[n] for n in names)
    add("transformers", name, lambda: Model(warmed(Call(scaled(build()), names, take, **fixed), ()), inputs, sizes, relative=relative))


SMALL = dict(vocab_size=WORDS, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_position_embeddings=64)
text("bert", lambda: hf().BertModel(hf().BertConfig(**SMALL)), ("input_ids", "attention_mask", "token_type_ids"), ("last_hidden_state", "pooler_output"))
text("distilbert", lambda: hf().DistilBertForSequenceClassification(hf().DistilBertConfig(vocab_size=WORDS, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64)), take=("logits",))
text("roberta", lambda: hf().RobertaModel(hf().RobertaConfig(**SMALL)))
text("albert", lambda: hf().AlbertModel(hf().AlbertConfig(embedding_size=16, **SMALL)))
text("electra", lambda: hf().ElectraModel(hf().ElectraConfig(embedding_size=16, **SMALL)))
text("mpnet", lambda: hf().MPNetModel(hf().MPNetConfig(**SMALL)))
text("deberta_v2", lambda: hf().DebertaV2Model(hf().DebertaV2Config(relative_attention=True, position_buckets=16, pos_att_type=["p2c", "c2p"], norm_rel_ebd="layer_norm", share_att_key=True, **SMALL)))
text("modernbert", lambda: hf().ModernBertModel(hf().ModernBertConfig(reference_compile=False, local_attention=8, global_attn_every_n_layers=2, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2, **SMALL)))
text("bert_token", lambda: hf().BertForTokenClassification(hf().BertConfig(num_labels=5, **SMALL)), take=("logits",))
text("bert_qa", lambda: hf().BertForQuestionAnswering(hf().BertConfig(**SMALL)), take=("start_logits", "end_logits"))

# decoders over a whole prompt
CAUSAL = dict(SMALL, pad_token_id=0, bos_token_id=1, eos_token_id=2)
GQA = dict(CAUSAL, num_key_value_heads=2)


def decoder(name, build, **kw):
    text(name, build, take=("logits",), use_cache=False, **kw)


decoder("opt", lambda: hf().OPTForCausalLM(hf().OPTConfig(vocab_size=WORDS, hidden_size=32, num_hidden_layers=2, ffn_dim=64, num_attention_heads=4, max_position_embeddings=64, word_embed_proj_dim=32)))
decoder("bloom", lambda: hf().BloomForCausalLM(hf().BloomConfig(vocab_size=WORDS, hidden_size=32, n_layer=2, n_head=4)))
decoder("gpt_neox", lambda: hf().GPTNeoXForCausalLM(hf().GPTNeoXConfig(**CAUSAL)))
decoder("llama", lambda: hf().LlamaForCausalLM(hf().LlamaConfig(**GQA)))
decoder("mistral", lambda: hf().MistralForCausalLM(hf().MistralConfig(sliding_window=8, head_dim=8, **GQA)))
decoder("qwen2", lambda: hf().Qwen2ForCausalLM(hf().Qwen2Config(**GQA)))
decoder("qwen3", lambda: hf().Qwen3ForCausalLM(hf().Qwen3Config(head_dim=8, **GQA)))
decoder("gemma", lambda: hf().GemmaForCausalLM(hf().GemmaConfig(head_dim=8, **GQA)), relative=True)
decoder("gemma2", lambda: hf().Gemma2ForCausalLM(hf().Gemma2Config(head_dim=8, sliding_window=8, query_pre_attn_scalar=8, **GQA)), relative=True)
decoder("phi3", lambda: hf().Phi3ForCausalLM(hf().Phi3Config(**GQA)))
decoder("mixtral", lambda: hf().MixtralForCausalLM(hf().MixtralConfig(num_local_experts=4, num_experts_per_tok=2, **GQA)))
text("mamba", lambda: hf().MambaForCausalLM(hf().MambaConfig(vocab_size=WORDS, hidden_size=32, state_size=4, num_hidden_layers=2, use_mambapy=False)), names=("input_ids",), take=("logits",),
     sizes=[dict(batch=2, seq=6), dict(batch=1, seq=6), dict(batch=3, seq=6)], use_cache=False)


# one step of a decoder with its cache: past keys and values come in, longer ones go out
class Step(nn.Module):
    def __init__(self, model, layers):
        super().__init__()
        self.model, self.layers = model, layers

    def forward(self, input_ids, attention_mask, *past):
        cache = hf().DynamicCache()
        for i in range(self.layers):
            cache.update(past[2 * i], past[2 * i + 1], i)
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True)
        c = out.past_key_values
        kv = [(l.keys, l.values) for l in c.layers] if hasattr(c, "layers") else list(zip(c.key_cache, c.value_cache))
        return (out.logits, *[t for pair in kv for t in pair])


def step(name, build, heads, width):
    def inputs(batch, past):
        return (ids(batch, 1), torch.ones(batch, past + 1, dtype=torch.long), *[torch.randn(batch, heads, past, width) for _ in range(4)])
    add("transformers", name, lambda: Model(Step(scaled(build()), 2).eval(), inputs, [dict(batch=2, past=7), dict(batch=1, past=12), dict(batch=3, past=3)]))


step("gpt2_cache", lambda: hf().GPT2LMHeadModel(hf().GPT2Config(vocab_size=WORDS, n_embd=32, n_layer=2, n_head=4, n_positions=64)), 4, 8)
step("llama_cache", lambda: hf().LlamaForCausalLM(hf().LlamaConfig(**GQA)), 2, 8)
decoder("gpt2", lambda: hf().GPT2LMHeadModel(hf().GPT2Config(vocab_size=WORDS, n_embd=32, n_layer=2, n_head=4, n_positions=64)))


# encoder and decoder
PAIRS = [dict(batch=2, seq=12, out=5), dict(batch=1, seq=7, out=9), dict(batch=3, seq=15, out=4)]


def pair(name, build, relative=False):
    def inputs(batch, seq, out):
        return ids(batch, seq), padding(batch, seq), ids(batch, out)
    names = ("input_ids", "attention_mask", "decoder_input_ids")
    add("transformers", name, lambda: Model(Call(scaled(build()), names, ("logits",), use_cache=False).eval(), inputs, PAIRS, relative=relative))


def t5():
    return hf().T5Config(vocab_size=WORDS, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, relative_attention_num_buckets=8, relative_attention_max_distance=20, decoder_start_token_id=0)


BARTISH = dict(vocab_size=WORDS, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=64)
pair("t5", lambda: hf().T5ForConditionalGeneration(t5()), relative=True)
text("t5_encoder", lambda: hf().T5EncoderModel(t5()), relative=True)
pair("bart", lambda: hf().BartForConditionalGeneration(hf().BartConfig(**BARTISH)))
pair("marian", lambda: hf().MarianMTModel(hf().MarianConfig(pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, **BARTISH)))
pair("pegasus", lambda: hf().PegasusForConditionalGeneration(hf().PegasusConfig(pad_token_id=0, **BARTISH)))


# speech
def whisper():
    return hf().WhisperForConditionalGeneration(hf().WhisperConfig(num_mel_bins=16, max_source_positions=20, max_target_positions=32, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
                                                                   suppress_tokens=None, begin_suppress_tokens=None, **{k: v for k, v in BARTISH.items() if k != "max_position_embeddings"}))


def speech_pair(batch, out):
    return torch.randn(batch, 16, 40), ids(batch, out)


add("transformers", "whisper", lambda: Model(Call(scaled(whisper()), ("input_features", "decoder_input_ids"), ("logits",), use_cache=False).eval(), speech_pair,
                                             [dict(batch=2, out=4), dict(batch=1, out=7), dict(batch=3, out=3)]))
WAVE = [dict(batch=2, n=800), dict(batch=1, n=1200), dict(batch=3, n=1000)]
WAVES = dict(vocab_size=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, conv_dim=(16, 16, 16), conv_stride=(5, 2, 2), conv_kernel=(10, 3, 3), num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4)


def wave(name, build, take):
    add("transformers", name, lambda: Model(Call(scaled(build()), ("input_values",), (take,)).eval(), lambda batch, n: (torch.randn(batch, n),), WAVE))


wave("wav2vec2", lambda: hf().Wav2Vec2ForCTC(hf().Wav2Vec2Config(**WAVES)), "logits")
wave("hubert", lambda: hf().HubertModel(hf().HubertConfig(**WAVES)), "last_hidden_state")


def vits():
    c = hf().VitsConfig(vocab_size=38, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=64, flow_size=16, spectrogram_bins=9, upsample_initial_channel=32, upsample_rates=[4, 4], upsample_kernel_sizes=[8, 8],
                        resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3]], prior_encoder_num_flows=2, prior_encoder_num_wavenet_layers=2, posterior_encoder_num_wavenet_layers=2, duration_predictor_num_flows=2,
                        duration_predictor_filter_channels=16, use_stochastic_duration_prediction=False, noise_scale=0.0, noise_scale_duration=0.0)
    model = hf().VitsModel(c)
    model.noise_scale = model.noise_scale_duration = 0.0
    return model


add("transformers", "vits", lambda: Model(Call(vits(), ("input_ids", "attention_mask"), ("waveform",)).eval(), lambda batch, seq: (torch.randint(1, 38, (batch, seq)), torch.ones(batch, seq, dtype=torch.long)),
                                          [dict(batch=2, seq=8), dict(batch=2, seq=11)]))


# images
EYES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=32, patch_size=8)


def sight(name, build, take, size=32, names=("pixel_values",), relative=False, sizes=BATCH, **fixed):
    def inputs(batch, height=size, width=size):
        return (images(batch, height, width),)
    add("transformers", name, lambda: Model(warmed(Call(scaled(build()), names, take, **fixed), inputs(2)), inputs, sizes, relative=relative))


sight("vit_hf", lambda: hf().ViTForImageClassification(hf().ViTConfig(num_labels=10, **EYES)), ("logits",))
sight("dinov2_hf", lambda: hf().Dinov2Model(hf().Dinov2Config(mlp_ratio=2, **{k: v for k, v in EYES.items() if k != "intermediate_size"})), ("last_hidden_state",))
sight("segformer", lambda: hf().SegformerForSemanticSegmentation(hf().SegformerConfig(hidden_sizes=[16, 16, 32, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 2, 4], decoder_hidden_size=32, num_labels=5)), ("logits",), 64,
      sizes=[dict(batch=2, height=64, width=96), dict(batch=1, height=96, width=64), dict(batch=3, height=128, width=64)])
sight("yolos", lambda: hf().YolosForObjectDetection(hf().YolosConfig(num_detection_tokens=5, num_labels=5, **dict(EYES, image_size=[32, 32]))), ("logits", "pred_boxes"))
sight("resnet_hf", lambda: hf().ResNetForImageClassification(hf().ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], num_labels=10)), ("logits",), 64)
sight("mobilevit_hf", lambda: hf().MobileViTForImageClassification(hf().MobileViTConfig(hidden_sizes=[16, 24, 32], neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 32], num_labels=10, image_size=64)), ("logits",), 64)
sight("sam_vision", lambda: hf().models.sam.modeling_sam.SamVisionEncoder(hf().SamVisionConfig(hidden_size=32, output_channels=16, num_hidden_layers=2, num_attention_heads=4, image_size=64, patch_size=8, window_size=3,
                                                                                               global_attn_indexes=[1], mlp_dim=64)), ("last_hidden_state",), 64)
sight("clip_vision", lambda: hf().CLIPVisionModel(hf().CLIPVisionConfig(**EYES)), ("last_hidden_state", "pooler_output"))


def detr():
    backbone = hf().ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], out_features=["stage4"])
    c = hf().DetrConfig(use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone, num_queries=7, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
                        decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, num_labels=5)
    return hf().DetrForObjectDetection(c)


def detr_inputs(batch, height=64, width=64):
    return images(batch, height, width), torch.ones(batch, height, width, dtype=torch.long)


add("transformers", "detr", lambda: Model(warmed(Call(scaled(detr()), ("pixel_values", "pixel_mask"), ("logits", "pred_boxes")), detr_inputs(2)), detr_inputs,
                                          [dict(batch=2, height=64, width=96), dict(batch=1, height=96, width=64), dict(batch=3, height=64, width=64)]))


def depth():
    back = hf().Dinov2Config(mlp_ratio=2, out_features=["stage1", "stage2"], apply_layernorm=True, reshape_hidden_states=False, **{k: v for k, v in EYES.items() if k != "intermediate_size"})
    return hf().DepthAnythingForDepthEstimation(hf().DepthAnythingConfig(backbone_config=back, patch_size=8, reassemble_hidden_size=32, reassemble_factors=[2, 1], neck_hidden_sizes=[8, 16], fusion_hidden_size=16, head_hidden_size=8))


sight("depth_anything", depth, ("predicted_depth",))


# text and images
def clip():
    words = {k: v for k, v in SMALL.items() if k != "max_position_embeddings"}
    return hf().CLIPModel(hf().CLIPConfig(text_config=dict(max_position_embeddings=32, eos_token_id=2, **words), vision_config=EYES, projection_dim=16))


def siglip():
    words = {k: v for k, v in SMALL.items() if k != "max_position_embeddings"}
    return hf().SiglipModel(hf().SiglipConfig(text_config=dict(max_position_embeddings=12, **words), vision_config=EYES))


def both(batch, seq=12):
    return ids(batch, seq), images(batch, 32, 32), padding(batch, seq)


BOTH = ("input_ids", "pixel_values", "attention_mask")
add("transformers", "clip", lambda: Model(Call(scaled(clip(), 0.08), BOTH, ("logits_per_image", "text_embeds", "image_embeds")).eval(), both, [dict(batch=2, seq=12), dict(batch=3, seq=7), dict(batch=4, seq=20)]))
add("transformers", "siglip", lambda: Model(Call(scaled(siglip(), 0.08), BOTH, ("logits_per_image", "text_embeds", "image_embeds")).eval(), lambda batch: both(batch), BATCH))


class Llava(nn.Module):
    """As LLaVA does it: patches of the image, projected, stand where the prompt has image tokens."""
    def __init__(self):
        super().__init__()
        self.model = scaled(hf().LlavaForConditionalGeneration(hf().LlavaConfig(vision_config=hf().CLIPVisionConfig(**EYES), text_config=hf().LlamaConfig(**GQA), image_token_index=96, image_token_id=96, vision_feature_layer=-1)))

    def forward(self, input_ids, pixel_values, attention_mask):
        return self.model(input_ids=input_ids, pixel_values=pixel_values, attention_mask=attention_mask, use_cache=False).logits


def llava_inputs(batch):
    prompt = torch.randint(3, 90, (batch, 24))
    prompt[:, 2:18] = 96
    return prompt, images(batch, 32, 32), torch.ones(batch, 24, dtype=torch.long)


add("transformers", "llava", lambda: Model(Llava().eval(), llava_inputs, BATCH))


def blip():
    return hf().BlipForConditionalGeneration(hf().BlipConfig(text_config=dict(encoder_hidden_size=32, bos_token_id=1, sep_token_id=2, **SMALL), vision_config=EYES))


add("transformers", "blip", lambda: Model(Call(scaled(blip()), ("pixel_values", "input_ids", "attention_mask"), ("logits",)).eval(), lambda batch, seq: (images(batch, 32, 32), ids(batch, seq), padding(batch, seq)), TEXT))


# time series
def patchtst():
    return hf().PatchTSTForPrediction(hf().PatchTSTConfig(num_input_channels=3, context_length=32, patch_length=8, patch_stride=8, d_model=16, num_attention_heads=4, num_hidden_layers=2, ffn_dim=32, prediction_length=6))


add("transformers", "patchtst", lambda: Model(warmed(Call(patchtst(), ("past_values",), ("prediction_outputs",)), (torch.randn(4, 32, 3),)), lambda batch: (torch.randn(batch, 32, 3),), BATCH))
